"""Training data, from whatever it is stored as to mapped uint8. Knows nobody else in training.

data      load a split: `load_pictures`, `load_alike`
cache     decoded pictures on disk
decode    one file's bytes to pixels of the wanted size
source    pictures that can be read one by one
mixture   several data sets as one
sources   a path: which layout it has, and which of it a split is
layouts   files to labelled pictures
archives  files in a folder, a zip, a tar
parquet   Hugging Face's tables
idx       MNIST's file format
holdout   which pictures are kept out of training, where the data has no test split
labels    which class each has
metadata  what else is said about each
captions  captions made of that
"""
