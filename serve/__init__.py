"""`make serve`: an embedded Redis, one worker and the API as one supervised group of processes."""
