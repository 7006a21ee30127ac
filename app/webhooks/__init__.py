"""Telling webhooks: `python -m app.webhooks`, a process of its own beside the API's.

settings.py   its settings; which hosts and secrets there are
signing.py    Standard Webhooks' secrets and signatures
addresses.py  where a request may go: what is public, checked on the connected socket
sender.py     one try of one message
deliverer.py  claims what is due, tries it, tells Redis what came of it
fields.py     on the API's side: what a client may ask for in `webhook`
"""
