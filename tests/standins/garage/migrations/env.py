# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""As Flask-Migrate's template: engine and models are the application's."""

from __future__ import annotations

from alembic import context
from flask import current_app

database = current_app.extensions["migrate"].db
engine = database.engine

if context.is_offline_mode():
    context.configure(url=engine.url, target_metadata=database.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=None)
        with context.begin_transaction():
            context.run_migrations()
