"""Newton steps whose Hessian is read off fluctuations."""
