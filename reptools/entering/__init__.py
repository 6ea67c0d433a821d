"""What enters: labelled data of any kind, lined up by stimulus."""
