"""How right pitch is: sounds of known pitch, real speech, and methods that share no code."""
