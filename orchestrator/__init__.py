"""Plans, dispatches, watches and reassembles; never imports torch or cv2."""
