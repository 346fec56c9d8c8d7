"""What both sides of the wire share: ids, errors, batches, records, codecs, partitioning.

Everything here is a pure function or an immutable value: no sockets, no files, no clocks, no gRPC.
Services and clients import the modules by name; nothing is re-exported.
"""
