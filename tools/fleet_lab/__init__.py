"""A laboratory of real hosts on one machine, for trying the fleet's playbooks without a container engine.

Each host has a systemd, an sshd, a network address and a disk of its own: systemd-nspawn boots it from a
Debian image that debootstrap made once, with an overlay for what it writes. The hosts see one another and the
controller, and nothing of the internet.
"""
