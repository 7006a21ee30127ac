"""How good what a model draws is, judged against pictures that are real.

evaluate     class agreement of drawn pictures
classifier   who judges: trained once per data set, cached
gate         whether a new checkpoint may be published
"""
