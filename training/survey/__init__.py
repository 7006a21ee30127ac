"""What a data set holds, before anything is trained on it: `data check PATH`.

command     the command line
look        one look at every picture
duplicates  which are the same, or nearly
words       what was found, for people and as JSON
page        contact sheets, and the same with pictures
"""
