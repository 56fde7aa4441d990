"""Lists of rewrite rules, one file for each subject; passes concatenate them."""
