"""What can be asked of any torch network: modes, decay, calibration, compiling, groups without patterns."""
