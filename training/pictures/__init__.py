"""Training data, from whatever it is stored as to mapped uint8. Knows nobody else in training.

data      load a split: `load_pictures`, `load_alike`
cache     decoded pictures on disk
decode    one file's bytes to pixels of the wanted size
sources   a folder, a zip, or IDX files: which pictures there are
holdout   which are kept out of training, where the data has no test split
labels    which class each has
captions  what is said about each
idx       MNIST's file format
"""
