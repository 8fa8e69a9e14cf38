"""The web page of the farm: pages for people, rendered here, over the same `Farm` as the API."""
