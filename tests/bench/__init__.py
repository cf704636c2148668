"""`make bench`: ratios against references measured in the same run, never bare milliseconds."""
