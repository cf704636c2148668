"""The references' tables, and the statements of holds and joins as the database alone can run them."""

SCHEMA = """
CREATE TABLE bench_seat (performance_id int, seat_no int, hold_id uuid, held_until timestamptz,
    ticket_id uuid, PRIMARY KEY (performance_id, seat_no)) WITH (fillfactor = 30);
INSERT INTO bench_seat SELECT 1, n FROM generate_series(0, {seats} - 1) n;
CREATE TABLE bench_hold (id uuid PRIMARY KEY, account_id uuid, seats jsonb, expires_at timestamptz);
CREATE INDEX ON bench_hold (expires_at);
VACUUM ANALYZE bench_seat;
"""

# The statements of `holds.place`, as the database alone can run them.
PGBENCH = """
\\set seat random(0, {seats} / 2 - 1)
\\set first :seat * 2
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT * FROM bench_performance WHERE id = 1;
UPDATE bench_entry SET holds_end_at = coalesce(holds_end_at, now()) WHERE id = :client_id;
INSERT INTO bench_allowance AS a (performance_id, account_id, hold_id) VALUES (1, :seat, gen_random_uuid())
    ON CONFLICT (performance_id, account_id) DO UPDATE SET hold_id = excluded.hold_id
    WHERE a.seats_bought <= 6;
UPDATE bench_seat SET hold_id = gen_random_uuid(), held_until = now()
    WHERE performance_id = 1 AND seat_no IN (:first, :first + 1)
    AND ticket_id IS NULL AND (hold_id IS NULL OR held_until <= now());
INSERT INTO bench_hold (id, seats, expires_at) VALUES (gen_random_uuid(), '[1, 2]', now());
INSERT INTO bench_journal (attempt_id, kind, facts)
    VALUES (gen_random_uuid(), 'hold_placed', '{{"seats": [1, 2], "total_minor": 2000}}');
COMMIT;
"""
PGBENCH_SCHEMA = """
CREATE TABLE bench_performance (id int PRIMARY KEY, paused_at timestamptz);
INSERT INTO bench_performance VALUES (1, NULL);
CREATE TABLE bench_entry (id bigint PRIMARY KEY, holds_end_at timestamptz);
INSERT INTO bench_entry SELECT n FROM generate_series(0, 1000) n;
CREATE TABLE bench_allowance (performance_id int, account_id bigint, hold_id uuid,
    seats_bought int DEFAULT 0, PRIMARY KEY (performance_id, account_id));
CREATE TABLE bench_journal (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, attempt_id uuid,
    kind text, facts jsonb, UNIQUE (attempt_id, kind));
"""

# The statements of `waiting_room.join_together`: so many newcomers of one room in one transaction.
PGBENCH_JOINS = """
BEGIN ISOLATION LEVEL SERIALIZABLE;
INSERT INTO queue_entry (id, performance_id, account_id, joined_at)
    SELECT gen_random_uuid(), {sale}, gen_random_uuid(), now() FROM generate_series(1, {together})
    ON CONFLICT DO NOTHING RETURNING id;
INSERT INTO journal_entry (attempt_id, at, kind, facts)
    SELECT gen_random_uuid(), now(), 'queue_joined', jsonb_build_object('performance_id', {sale}::int,
        'entry_id', gen_random_uuid(), 'account_id', gen_random_uuid(), 'access_expires_at', NULL)
    FROM generate_series(1, {together});
COMMIT;
"""
