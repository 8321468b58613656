"""Models of other libraries as `Scorer`s, to be measured by the same evaluation: `pip install 'grela[rivals]'`."""
