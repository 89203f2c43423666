"""Each crack once: from the frames of a run to a map and an inventory.

    tracker, builder = FrameTracker(), SheetBuilder()          # track.py, sheets.py
    for gray in grays:                                         # every captured frame
        builder.add(tracker.add(gray), gray)
    sheets = builder.finish()
    inventory = InventoryKeeper().update(sheets, found)        # inventory.py
    for sheet in sheets.sheets:
        seen = coverage_of(sheets, sheet, looks)               # coverage.py
        mosaic = make_mosaic(sheets, sheet, picture_of)        # mosaic.py

Works on arrays and records; reads no files and runs no models.
"""
