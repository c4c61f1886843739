"""The Butterbase Functions API."""
