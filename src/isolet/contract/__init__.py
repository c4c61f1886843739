"""The contract of the native API: the models of its requests and replies, and its operations.

A module for each resource has its models and a `Resource` class, whose methods are the operations: method, path,
parameters, body and reply are written once, here. Routes serve operations (`api/native`), the description at
`/openapi.json` follows from that, and the client calls them (`client`). It knows no server and no client.
"""
