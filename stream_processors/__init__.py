"""The Faust application: blocks of events in, exact windows out."""
