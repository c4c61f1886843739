"""What tests share: a real server in a child process, clients, and waiting with a deadline."""
