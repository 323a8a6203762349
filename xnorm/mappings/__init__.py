"""Tables that map ids of one terminology to ids of another: `base` is the contract, each other file a format."""
