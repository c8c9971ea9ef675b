"""What `make release` does: a folder from which a node installs without any network, billed and audited.

The parts, in the order of their work: `targets` (for which interpreters and boards), `locks` (what is
pinned), `advisories` (what is known against it), `building` (this project's own wheel), `fetching` (those
of others), `wheelhouse` (the archives), `bill` (of materials), `trial` (one archive is installed),
`description` (release.json). `making` calls them.
"""
