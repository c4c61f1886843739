"""What is known of calls: records, live logs, figures, traces, and how long they are kept."""
