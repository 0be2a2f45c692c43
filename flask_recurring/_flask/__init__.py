"""What ties the scheduler to Flask: applications, settings, the command line, web servers."""
