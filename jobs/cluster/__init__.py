"""Runs as jobs of a Ray cluster: submitted, watched, stopped.

api.py       the little that is asked of a cluster       ray_jobs.py   asked of Ray's job server
package.py   what travels with a job                     connecting.py token, TLS, what is open
submit.py    one job per recipe at a time                follow.py     its log, and its end
status.py    how far everything is                       stop.py       ending it in order
"""
