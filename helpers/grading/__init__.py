"""Exercises: released from solutions/, checked for the learner, graded with nbgrader; and the learner's progress."""
