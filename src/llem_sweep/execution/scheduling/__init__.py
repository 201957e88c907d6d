"""Which task an idle worker takes. Pure: no Ray, no clock, no memory of workers."""
