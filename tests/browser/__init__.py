"""JupyterLab, Notebook 7 and the panel in headless chromium; a package, so that what is shared ends with it."""
