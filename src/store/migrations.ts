import { sql } from 'kysely'
import type { Migration } from 'kysely/migration'

/**
 * The schema, step by step. Every list that a caller can ask for has an index that ends in `id`: ids are UUIDv7, so
 * their order is that of creation and serves as the cursor.
 */
export const migrations: Record<string, Migration> = {
  '0001-first': {
    async up (db) {
      for (const statement of first) await sql.raw(statement).execute(db)
    }
  },
  '0002-hints': {
    async up (db) {
      for (const statement of hints) await sql.raw(statement).execute(db)
    }
  },
  '0003-idempotency': {
    async up (db) {
      for (const statement of idempotency) await sql.raw(statement).execute(db)
    }
  },
  '0004-acting': {
    async up (db) {
      for (const statement of acting) await sql.raw(statement).execute(db)
    }
  },
  '0005-revisions': {
    async up (db) {
      for (const statement of revisions) await sql.raw(statement).execute(db)
    }
  },
  '0006-labels': {
    async up (db) {
      for (const statement of labels) await sql.raw(statement).execute(db)
    }
  },
  '0007-purge-planner': {
    async up (db) {
      for (const statement of purgePlanner) await sql.raw(statement).execute(db)
    }
  },
  '0008-budgets': {
    async up (db) {
      for (const statement of budgets) await sql.raw(statement).execute(db)
    }
  },
  '0009-intake': {
    async up (db) {
      for (const statement of intake) await sql.raw(statement).execute(db)
    }
  }
}

const first = [
  `create table jobs (
    id uuid primary key,
    kind text not null,
    state text not null,
    outcome text,
    merged_into uuid,
    bucket text, key text collate "C", version_id text,
    rule text, target text, cp_code integer, path text collate "C", lane text collate "C",
    solo boolean not null default false,
    request jsonb not null, source jsonb not null,
    labels text[] not null default '{}',
    attempts integer not null default 0,
    etag text, size_bytes bigint, sent_bytes bigint, md5 text,
    purge jsonb, error jsonb, timeline jsonb not null,
    next_attempt_at timestamptz(3),
    created_at timestamptz(3) not null, started_at timestamptz(3), uploaded_at timestamptz(3),
    purged_at timestamptz(3), finished_at timestamptz(3)
  )`,
  'create index jobs_state on jobs (state, id desc)',
  'create index jobs_key on jobs (key, bucket, id desc)',
  'create index jobs_labels on jobs using gin (labels)',
  'create index jobs_created on jobs (created_at desc, id desc)',
  'create index jobs_kind on jobs (kind, id desc)',
  'create index jobs_bucket on jobs (bucket, id desc)',
  'create index jobs_lane_open on jobs (lane, id) where state in (\'queued\', \'uploading\')',
  'create index jobs_merged on jobs (merged_into) where merged_into is not null',
  `create table objects (
    lane text collate "C" primary key,
    target text not null, cp_code integer not null, path text collate "C" not null,
    bucket text not null, key text collate "C" not null,
    present boolean not null,
    etag text, version_id text, size_bytes bigint, md5 text,
    mtime bigint not null, committed_at timestamptz(3) not null, job_id uuid not null
  )`,
  'create index objects_key on objects (key, bucket)',
  `create table debts (
    id bigint generated always as identity primary key,
    lane text collate "C" not null,
    edgegrid text not null, network text not null, type text not null, object text collate "C" not null,
    action text not null,
    due_at timestamptz(3), first_at timestamptz(3) not null, settled_at timestamptz(3) not null,
    repeat boolean not null default false, wants_repeat boolean not null default false,
    version integer not null default 1, attempts integer not null default 0,
    claimed_until timestamptz(3)
  )`,
  'create unique index debts_what on debts (md5(lane || chr(1) || object), edgegrid, network, type, repeat)',
  'create index debts_lane on debts (lane)',
  'create index debts_due on debts (due_at) where due_at is not null',
  `create table waiters (
    debt_id bigint not null references debts on delete cascade,
    job_id uuid not null,
    settled_at timestamptz(3) not null,
    primary key (debt_id, job_id)
  )`,
  'create index waiters_job on waiters (job_id)',
  `create table purges (
    id uuid primary key,
    edgegrid text not null, network text not null, action text not null, type text not null,
    objects jsonb not null, count integer not null,
    purge_id text not null, support_id text not null,
    accepted_at timestamptz(3) not null, job_ids uuid[] not null
  )`,
  'create index purges_jobs on purges using gin (job_ids)',
  `create table pauses (
    name text primary key, reason text not null,
    since timestamptz(3) not null, next_probe_at timestamptz(3) not null
  )`
]

/** Events in: which were seen, what order they claim, and how many deletes they caused. */
const hints = [
  'alter table jobs add column hint_source text, add column hint text collate "C"',
  'create index jobs_hint on jobs (key, bucket, hint_source, hint) where hint is not null',
  'drop index jobs_lane_open',
  'create index jobs_lane_open on jobs (lane, id) where state in (\'queued\', \'uploading\', \'held\')',
  'create table hints (identity text primary key, job_id uuid not null, seen_at timestamptz(3) not null)',
  'create index hints_seen on hints (seen_at)',
  'create table deletes (at timestamptz(3) not null)',
  'create index deletes_at on deletes (at)',
  'alter table objects add column pending boolean not null default false'
]

const idempotency = [
  `create table idempotency_keys (
    scope text not null, key text not null,
    body_sha256 text not null, job_id uuid not null,
    created_at timestamptz(3) not null,
    primary key (scope, key)
  )`,
  'create index idempotency_keys_created on idempotency_keys (created_at)'
]

/** What operators do to jobs. */
const acting = [
  'alter table jobs add column cancel_requested boolean not null default false, add column retried_at timestamptz(3)'
]

/** Each change of a job has a number, later ones higher ones; the transaction is known by then to whoever looks on. */
const revisions = [
  'create sequence jobs_revision',
  'alter table jobs add column revision bigint not null default 0',
  'create index jobs_changed on jobs (revision)',
  `create function number_job_change() returns trigger language plpgsql as $$
    begin
      perform pg_current_xact_id();
      new.revision := nextval('edgeferry.jobs_revision');
      return new;
    end $$`,
  'create trigger jobs_changed before insert or update on jobs for each row execute function number_job_change()'
]

/** Labels in the order of ids: with an index on the array alone, the planner at times walks all jobs for a rare label. */
const labels = [
  'create table job_labels (label text not null, job_id uuid not null references jobs (id) on delete cascade, primary key (label, job_id))',
  'create index job_labels_job on job_labels (job_id)',
  'insert into job_labels select distinct unnest(labels), id from jobs',
  `create function index_labels() returns trigger language plpgsql as $$
    begin
      insert into edgeferry.job_labels select distinct unnest(new.labels), new.id;
      return null;
    end $$`,
  'create trigger jobs_labels after insert on jobs for each row when (new.labels <> \'{}\') execute function index_labels()',
  'drop index jobs_labels'
]

/** Purges: who goes first, what the account allows, who plans, and what was sent for which object. */
const purgePlanner = [
  'alter table jobs add column purged jsonb',
  `alter table debts add column priority smallint not null default 2, add column suspect bigint,
    add column limited boolean not null default false, add column cp_codes integer[]`,
  // Room for the claim, which changes no indexed column, beside the debt itself.
  'alter table debts set (fillfactor = 50)',
  'drop index debts_due',
  'create index debts_turn on debts (edgegrid, type, priority, due_at) where due_at is not null',
  'create index debts_object on debts (md5(object))',
  'alter table purges add column limited_codes text[] not null default \'{}\'',
  'create index purges_kind on purges (network, action, type, id desc)',
  'create table purge_objects (object_hash bigint not null, request_id uuid not null, primary key (object_hash, request_id))',
  `create table purge_lanes (
    edgegrid text primary key, holder uuid not null, held_until timestamptz(3) not null,
    failures integer not null default 0, rest_until timestamptz(3)
  )`,
  `create table purge_buckets (
    edgegrid text not null, bucket text not null,
    size double precision not null, per_second double precision not null,
    own double precision not null, level double precision not null,
    foreign_per_second double precision not null, foreign_burst double precision not null,
    at timestamptz not null, seen_at timestamptz, held_until timestamptz,
    primary key (edgegrid, bucket)
  )`
]

/** How fast each storage group is asked, over all replicas; times in milliseconds of this server's clock. */
const budgets = [
  `create table budgets (
    name text primary key,
    per_second float8 not null, refused float8, good float8,
    cut_at float8 not null, probe_at float8 not null, used_at float8 not null, next_at float8 not null
  )`
]

/** What makes a whole transaction fail by a condition, and identities as short as they may be: 128 bits of their digest. */
const intake = [
  `create function refuse(state text, why text) returns void language plpgsql as $$
    begin
      raise exception using errcode = state, message = why;
    end $$`,
  `alter table hints alter column identity type uuid
    using encode(substring(decode(translate(identity, '-_', '+/') || '=', 'base64') from 1 for 16), 'hex')::uuid`
]
