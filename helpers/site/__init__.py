"""The course as a web site: `build` makes it, `course_map` says where each lesson belongs, `pages/` holds what is written for it alone."""
