"""The lab: a gateway between network namespaces, a mock provider, and clients. See ../README.md."""
