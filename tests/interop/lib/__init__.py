"""The harness of the tests against real peers: namespaces, gateways, strongSwan, captures. See lab.py for the way in."""
