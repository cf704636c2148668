"""The tests of Jari. A package, so that the bench and the servers they start can import it."""
