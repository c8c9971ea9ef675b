"""The wire: topics, payloads and the policy document as typed models."""
