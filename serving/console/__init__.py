"""The console: server-rendered pages for marketing, compliance and the desk, mounted under /console.

    app.py        the table of pages: path, roles, who answers; a page cannot be without roles
    house.py      what all pages share: the office, a few threads, templates, jobs
    visit.py      one request of somebody signed in: session, language, form, acting through the HTTP API's routes
    signing_in.py session cookies, the ways to sign in (oidc.py, throttle.py)
    today.py campaigns.py lists.py rules.py changes.py customer.py decision.py desk.py worklist.py models.py   a section each
    jobs.py       what takes long runs in a process of its own (working.py) and is looked at from a page

Pages read through the functions that the commands use, and write through the very routes of the HTTP API, with
their roles, idempotency keys and the ledger's one writer. No rule of the business stands in this room.
"""
