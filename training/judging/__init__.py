"""How good what a model draws is, judged against pictures that are real.

command      `training evaluate`
judge        real pictures, floors, and everything measured against them
drawing      the pictures that are judged
features     pictures to features: classifier, EfficientNet, inception.py, dinov2.py
distances    Fréchet and KID, from torchmetrics
coverage     precision, recall, density, coverage
accuracy     classification accuracy score: trained on drawn, tested on real
agreement    is it drawn what was asked for?
neighbours   is it copied?
classifier   who judges classes: trained once per data set, cached
results      what was found, as a manifest keeps it
figures      the same, in words
report       the same, as a page
history      figures over time, and where they are kept
gate         whether a new checkpoint may be published
"""
