"""What one wants to see before and while training; `python -m training inspect`.

command            the command line
schedules          all noise schedules side by side
noising            the forward process of one picture
networks           a network level by level
prediction_error   the error of noise prediction per timestep
synthetic          made-up pictures, where no data is at hand
"""
