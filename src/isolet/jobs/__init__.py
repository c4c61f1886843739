"""Durable work: the queue, its workers, asynchronous calls and the delivery of their callbacks."""
