"""A configuration file of gunicorn that lets gevent patch before the application is loaded."""

from gevent import monkey

monkey.patch_all()
