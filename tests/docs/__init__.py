"""The docs, held against the code: generated pages, snippets, links, names, bounds."""
