#!/usr/bin/env python3
"""The Python services' side of the database, for python_interop_test.

usage: upstream.py [--tenants] write|read|work OUTPUT [ARGUMENTS-AS-JSON]

Maps the five tables as the services do and runs the statements that their repositories run, against
the SQLAlchemy URL in UPSTREAM_URL. The answer is written to OUTPUT as JSON: timestamps in ISO
format with microseconds, bytes in hexadecimal.
--tenants maps the tenant_id columns, which later revisions add, as well.
"""
import json
import os
import pickle
import sys
from datetime import datetime, timezone

import sqlalchemy as sa
from sqlalchemy.orm import Session, declarative_base, relationship

Base = declarative_base()


def utc_now():
    """An aware time, which the server casts to the column's wall time."""
    return datetime.now(timezone.utc)


def define_models(tenants):
    """Channel, Video, AudioFingerprint, MatchResult and ProcessingJob."""
    def tenant():
        return {"tenant_id": sa.Column(sa.ForeignKey("tenants.id"))} if tenants else {}

    def model(name, table, columns):
        return type(name, (Base,), {"__tablename__": table,
                                    "id": sa.Column(sa.Integer, primary_key=True), **columns})

    if tenants:
        model("Tenant", "tenants", {"name": sa.Column(sa.String(255), nullable=False),
                                    "slug": sa.Column(sa.String(100), nullable=False),
                                    "admin_email": sa.Column(sa.String(255), nullable=False)})
    channel = model("Channel", "channels", {
        **tenant(),
        "channel_id": sa.Column(sa.String(255), unique=True, nullable=False),
        "channel_name": sa.Column(sa.String(500)),
        "description": sa.Column(sa.Text),
        "subscriber_count": sa.Column(sa.Integer),
        "video_count": sa.Column(sa.Integer),
        "created_at": sa.Column(sa.DateTime, default=utc_now),
        "updated_at": sa.Column(sa.DateTime, default=utc_now, onupdate=utc_now),
        "last_processed": sa.Column(sa.DateTime),
        "is_active": sa.Column(sa.Boolean, default=True),
        "videos": relationship("Video", back_populates="channel"),
    })
    video = model("Video", "videos", {
        **tenant(),
        "video_id": sa.Column(sa.String(255), unique=True, nullable=False),
        "channel_id": sa.Column(sa.ForeignKey("channels.id"), nullable=False),
        "title": sa.Column(sa.String(1000)),
        "description": sa.Column(sa.Text),
        "duration": sa.Column(sa.Float),
        "view_count": sa.Column(sa.Integer),
        "like_count": sa.Column(sa.Integer),
        "upload_date": sa.Column(sa.DateTime),
        "url": sa.Column(sa.String(500)),
        "thumbnail_url": sa.Column(sa.String(500)),
        "processed": sa.Column(sa.Boolean, default=False),
        "processing_started": sa.Column(sa.DateTime),
        "processing_completed": sa.Column(sa.DateTime),
        "processing_error": sa.Column(sa.Text),
        "created_at": sa.Column(sa.DateTime, default=utc_now),
        "updated_at": sa.Column(sa.DateTime, default=utc_now, onupdate=utc_now),
        "channel": relationship("Channel", back_populates="videos"),
        "fingerprints": relationship("AudioFingerprint", back_populates="video"),
    })
    fingerprint = model("AudioFingerprint", "audio_fingerprints", {
        **tenant(),
        "video_id": sa.Column(sa.ForeignKey("videos.id"), nullable=False),
        "start_time": sa.Column(sa.Float, nullable=False),
        "end_time": sa.Column(sa.Float, nullable=False),
        "fingerprint_hash": sa.Column(sa.String(64), nullable=False),
        "fingerprint_data": sa.Column(sa.LargeBinary),
        "sample_rate": sa.Column(sa.Integer, default=22050),
        "segment_length": sa.Column(sa.Float),
        "n_fft": sa.Column(sa.Integer, default=2048, nullable=False),
        "hop_length": sa.Column(sa.Integer, default=512, nullable=False),
        "confidence_score": sa.Column(sa.Float),
        "peak_count": sa.Column(sa.Integer),
        "created_at": sa.Column(sa.DateTime, default=utc_now),
        "video": relationship("Video", back_populates="fingerprints"),
    })
    match = model("MatchResult", "match_results", {
        "query_fingerprint_id": sa.Column(sa.ForeignKey("audio_fingerprints.id")),
        "matched_fingerprint_id": sa.Column(sa.ForeignKey("audio_fingerprints.id")),
        "similarity_score": sa.Column(sa.Float, nullable=False),
        "match_confidence": sa.Column(sa.Float),
        "query_source": sa.Column(sa.String(50)),
        "query_url": sa.Column(sa.String(1000)),
        "query_user": sa.Column(sa.String(100)),
        "responded": sa.Column(sa.Boolean, default=False),
        "response_sent_at": sa.Column(sa.DateTime),
        "created_at": sa.Column(sa.DateTime, default=utc_now),
    })
    job = model("ProcessingJob", "processing_jobs", {
        "job_type": sa.Column(sa.String(50)),
        "status": sa.Column(sa.String(20)),
        "target_id": sa.Column(sa.String(255)),
        "parameters": sa.Column(sa.Text),
        "progress": sa.Column(sa.Float, default=0.0),
        "current_step": sa.Column(sa.String(200)),
        "created_at": sa.Column(sa.DateTime, default=utc_now),
        "started_at": sa.Column(sa.DateTime),
        "completed_at": sa.Column(sa.DateTime),
        "error_message": sa.Column(sa.Text),
        "retry_count": sa.Column(sa.Integer, default=0),
        "max_retries": sa.Column(sa.Integer, default=3),
    })
    return channel, video, fingerprint, match, job


Channel, Video, AudioFingerprint, MatchResult, ProcessingJob = define_models(
    "--tenants" in sys.argv)
TENANT = {"tenant_id": 1} if "--tenants" in sys.argv else {}
MODELS = (Channel, Video, AudioFingerprint, MatchResult, ProcessingJob)


# --- rows as JSON --------------------------------------------------------------------------------

def plain(value):
    if isinstance(value, datetime):
        if value.tzinfo is not None:
            raise TypeError(f"{value!r} is not naive")
        return value.isoformat(timespec="microseconds")
    if isinstance(value, (bytes, memoryview)):
        return bytes(value).hex()
    return value


def as_dict(row):
    return {column.name: plain(getattr(row, column.name)) for column in row.__table__.columns}


def read(session, _arguments):
    """Every row of the five tables, in the order of the ids."""
    return {model.__tablename__: [as_dict(row) for row in session.query(model).order_by(model.id)]
            for model in MODELS}


# --- what the services' repositories do ----------------------------------------------------------

def add(session, row):
    session.add(row)
    session.commit()
    return row


def create_batch(session, rows):
    session.bulk_save_objects(rows, return_defaults=True)
    session.commit()
    return rows


def mark_video_processed(session, video_id, success=True, error_message=None):
    video = session.get(Video, video_id)
    video.processed = success
    video.processing_completed = utc_now()
    if error_message:
        video.processing_error = error_message
    session.commit()


def update_job_status(session, job_id, status, progress=None, current_step=None,
                      error_message=None):
    job = session.get(ProcessingJob, job_id)
    job.status = status
    if progress is not None:
        job.progress = progress
    if current_step:
        job.current_step = current_step
    if error_message:
        job.error_message = error_message
    if status == "running" and not job.started_at:
        job.started_at = utc_now()
    elif status in ("completed", "failed"):
        job.completed_at = utc_now()
    session.commit()


def get_unprocessed_videos(session, limit=100):
    return session.query(Video).filter(~Video.processed).limit(limit).all()


def get_pending_jobs(session, job_type=None, limit=10):
    query = session.query(ProcessingJob).filter(ProcessingJob.status == "pending")
    if job_type:
        query = query.filter(ProcessingJob.job_type == job_type)
    return query.order_by(ProcessingJob.created_at).limit(limit).all()


def jobs_of(session, what, job_type, target_ids, statuses):
    query = session.query(what).filter(ProcessingJob.job_type == job_type,
                                       ProcessingJob.target_id.in_(target_ids))
    return query.filter(ProcessingJob.status.in_(statuses)) if statuses else query


def job_exists(session, job_type, target_id, statuses=None):
    query = jobs_of(session, ProcessingJob, job_type, [target_id], statuses)
    return bool(session.query(query.exists()).scalar())


def jobs_exist_batch(session, job_type, target_ids, statuses=None):
    return {row[0] for row in jobs_of(session, ProcessingJob.target_id, job_type, target_ids,
                                      statuses)}


def count_jobs_by_status(session, status):
    return session.query(ProcessingJob).filter(ProcessingJob.status == status).count()


def check_fingerprints_exist(session, video_id, sample_rate, n_fft, hop_length):
    return session.query(AudioFingerprint).filter(
        AudioFingerprint.video_id == video_id, AudioFingerprint.sample_rate == sample_rate,
        AudioFingerprint.n_fft == n_fft, AudioFingerprint.hop_length == hop_length).count() > 0


def find_matching_fingerprints(session, fingerprint_hash):
    return session.query(AudioFingerprint).filter(
        AudioFingerprint.fingerprint_hash == fingerprint_hash).all()


def get_top_matches(session, query_fp_id, limit=10):
    return session.query(MatchResult).filter(
        MatchResult.query_fingerprint_id == query_fp_id).order_by(
            MatchResult.similarity_score.desc()).limit(limit).all()


# --- commands ------------------------------------------------------------------------------------

LEAP_DAY = datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=timezone.utc)


def write_nulls(session, video_id):
    """Rows as older code and plain SQL left them: NULL wherever the schema allows it."""
    def insert(model, **values):
        names = [c.name for c in model.__table__.columns if c.nullable and c.name not in values]
        session.execute(sa.insert(model.__table__).values({**dict.fromkeys(names), **values}))

    insert(Channel, channel_id="null-channel")
    insert(Video, video_id="null-video", channel_id=session.get(Video, video_id).channel_id)
    insert(AudioFingerprint, video_id=video_id, start_time=0.0, end_time=0.0,
           fingerprint_hash="null", n_fft=2048, hop_length=512)
    insert(MatchResult, similarity_score=0.0)
    insert(ProcessingJob)
    session.commit()


def write(session, _arguments):
    """One row of each kind that the services store, through each of their statements."""
    channel = add(session, Channel(channel_id="UC-python", channel_name="Kanal „Ünïcödé“ 音楽 🎵",
                                   description="line\nline\ttab \\ ' \" %s $1", **TENANT))
    channel.last_processed = LEAP_DAY
    channel.subscriber_count = 2147483647
    channel.video_count = 0
    session.commit()
    add(session, Channel(channel_id="UC-inactive", is_active=False))

    video = add(session, Video(video_id="py-video-01", channel_id=channel.id, title="Títle 🎬",
                               duration=212.091, url="https://youtu.be/py-video-01",
                               description="", view_count=1, like_count=0, upload_date=LEAP_DAY,
                               thumbnail_url="https://i.ytimg.com/vi/0.jpg", **TENANT))
    failed = add(session, Video(video_id="py-video-02", channel_id=channel.id))
    video.processing_started = utc_now()
    session.commit()
    mark_video_processed(session, video.id)
    mark_video_processed(session, failed.id, success=False, error_message="no audio: ключ")
    add(session, Video(video_id="py-video-03", channel_id=channel.id))

    blob = pickle.dumps({"compact_fingerprint": [0.0, 0.1, 1.0], "confidence_score": 0.95,
                         "peak_count": 42, "duration": 90.0, "sample_rate": 22050}, protocol=4)
    batch = create_batch(session, [
        AudioFingerprint(video_id=video.id, start_time=i * 90.0, end_time=(i + 1) * 90.0,
                         fingerprint_hash=f"{i:032x}", fingerprint_data=blob,
                         confidence_score=0.1 + 0.2, peak_count=42, sample_rate=None,
                         segment_length=None, n_fft=2048, hop_length=512, **TENANT)
        for i in range(3)])
    single = add(session, AudioFingerprint(
        video_id=video.id, start_time=1e-300, end_time=1.7976931348623157e308,
        fingerprint_hash="f" * 64, fingerprint_data=bytes(range(256)), n_fft=4096, hop_length=256,
        sample_rate=44100, segment_length=90.0))

    matches = create_batch(session, [
        MatchResult(query_fingerprint_id=batch[0].id, matched_fingerprint_id=single.id,
                    similarity_score=score, match_confidence=None, query_source="twitter",
                    query_url="https://x.com/ö", query_user="@me")
        for score in (0.25, 0.75)])
    matches[0] = session.get(MatchResult, matches[0].id)
    matches[0].responded = True
    matches[0].response_sent_at = LEAP_DAY
    session.commit()

    job = add(session, ProcessingJob(job_type="video_process", target_id="py-video-01",
                                     parameters=json.dumps({"url": video.url, "title": "Títle"}),
                                     status="pending"))
    update_job_status(session, job.id, "running", 0.5, "Extracting")
    update_job_status(session, job.id, "failed", error_message="crashed: 音")
    add(session, ProcessingJob(job_type="video_process", target_id="py-video-03",
                               parameters=json.dumps({"url": "u"}), status="pending"))
    write_nulls(session, video.id)
    session.expire_all()
    return read(session, None)


def work(session, arguments):
    """A worker's round on rows that the library wrote."""
    unprocessed = [video.video_id for video in get_unprocessed_videos(session)]
    pending = get_pending_jobs(session, "video_process", 5)
    urls = [json.loads(job.parameters)["url"] for job in pending]
    job = pending[0]
    target = job.target_id
    existing = jobs_exist_batch(session, "video_process", [target, "absent"],
                                ["pending", "running"])
    update_job_status(session, job.id, "running", 0.25, "Downloading")
    update_job_status(session, job.id, "completed", 1.0, "Done")
    mark_video_processed(session, arguments["video"])
    session.get(Channel, arguments["channel"]).last_processed = utc_now()
    retried = session.get(ProcessingJob, arguments["failed_job"])
    retried.retry_count += 1
    retried.status = "pending"
    session.commit()
    found = find_matching_fingerprints(session, arguments["hash"])
    return {
        "unprocessed": sorted(unprocessed),
        "urls": urls,
        "worked": job.id,
        "existing": sorted(existing),
        "exists": job_exists(session, "video_process", target, ["completed"]),
        "running": count_jobs_by_status(session, "running"),
        "fingerprints_exist": check_fingerprints_exist(session, arguments["video"], 22050, 2048,
                                                       512),
        "found": [[fp.video.title, fp.video.channel.channel_name] for fp in found],
        "unpickled": [pickle.loads(fp.fingerprint_data)["peak_count"] for fp in found],
        "scores": [m.similarity_score for m in get_top_matches(session, found[0].id)],
        "retry_below_max": retried.retry_count < retried.max_retries,
    }


def main():
    words = [word for word in sys.argv[1:] if word != "--tenants"]
    command, output = words[0], words[1]
    arguments = json.loads(words[2]) if len(words) > 2 else None
    with Session(sa.create_engine(os.environ["UPSTREAM_URL"])) as session:
        answer = {"write": write, "read": read, "work": work}[command](session, arguments)
    with open(output, "w", encoding="utf-8") as file:
        json.dump(answer, file, allow_nan=False)


main()
