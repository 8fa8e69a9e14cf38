"""The process that takes work from a farm, drives the engine and delivers the pictures; without torch."""
