//! Records to Ottla and back, on stubs that tonic generated and nothing of Ottla's own.
//!
//! ottla-round-trip ADDRESS [RECORDS [CA-FILE]]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crc32fast::Hasher;
use futures::future::try_join_all;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::Status;
use tonic_types::StatusExt;

use ottla::api::admin::v1::admin_service_client::AdminServiceClient;
use ottla::api::admin::v1::{CreateTopicsRequest, DeleteTopicsRequest, NewTopic, TopicRef};
use ottla::api::error::v1::Error as OttlaError;
use ottla::api::fetch::v1::fetch_service_client::FetchServiceClient;
use ottla::api::fetch::v1::{read_start, read_until, HighWatermarkAtStart, OffsetPosition};
use ottla::api::fetch::v1::{ReadFormat, ReadRequest, ReadStart, ReadUntil};
use ottla::api::produce::v1::produce_service_client::ProduceServiceClient;
use ottla::api::produce::v1::{Acks, PublishRequest};
use ottla::api::record::v1::PlainRecord;

tonic::include_proto!("stubs");

type Failure = Box<dyn std::error::Error>;

const PARTITIONS: u32 = 4;
// A call carries 1 MiB and 30,000 records at most; a thousand of these are some 120 kB.
const RECORDS_PER_CALL: usize = 1000;

async fn connect(address: &str, authority: Option<String>) -> Result<Channel, Failure> {
    let scheme = if authority.is_some() { "https" } else { "http" };
    let mut endpoint =
        Endpoint::from_shared(format!("{scheme}://{address}"))?.timeout(Duration::from_secs(60));
    if let Some(path) = authority {
        let certificate = Certificate::from_pem(std::fs::read(path)?);
        endpoint = endpoint.tls_config(ClientTlsConfig::new().ca_certificate(certificate))?;
    }
    Ok(endpoint.connect().await?)
}

/// Record `number`: one in 101 has no value, which is not the same as an empty one.
fn record(number: u64) -> PlainRecord {
    let value = format!("{:.<100}", format!("record {number} "));
    PlainRecord {
        key: Some(format!("key-{}", number % 1000).into_bytes()),
        value: (number % 101 != 100).then(|| value.into_bytes()),
        ..Default::default()
    }
}

fn add(checksum: &mut Hasher, record: &PlainRecord) {
    checksum.update(record.key());
    checksum.update(&[record.value.is_some().into()]);
    checksum.update(record.value());
}

/// An answer says of every item what became of it: one may fail while the others succeed.
fn check(error: Option<OttlaError>) -> Result<(), Failure> {
    match error {
        Some(error) => Err(format!("{}: {}", error.reason().as_str_name(), error.message).into()),
        None => Ok(()),
    }
}

/// Sends a partition its share of the records, in order: a call follows when the last is answered.
async fn publish(
    channel: &Channel,
    topic: &str,
    partition: u32,
    count: u64,
) -> Result<u32, Failure> {
    let mut client = ProduceServiceClient::new(channel.clone());
    let mut checksum = Hasher::new();
    let mut records = (partition.into()..count).step_by(PARTITIONS as usize).map(record).peekable();
    while records.peek().is_some() {
        let request = PublishRequest {
            topic: topic.into(),
            partition: Some(partition),
            acks: Acks::All.into(),
            records: records.by_ref().take(RECORDS_PER_CALL).collect(),
            ..Default::default()
        };
        request.records.iter().for_each(|record| add(&mut checksum, record));
        let answer = client.publish(request).await?.into_inner();
        answer.results.into_iter().try_for_each(|result| check(result.error))?;
    }
    Ok(checksum.finalize())
}

/// Reads a partition from its first record to the end that it has when the call begins.
async fn read(channel: &Channel, topic: &str, partition: u32) -> Result<(u64, u32), Status> {
    let start = read_start::Start::Position(OffsetPosition::Earliest.into());
    let until = read_until::Until::HighWatermarkAtStart(HighWatermarkAtStart {});
    let request = ReadRequest {
        topic: topic.into(),
        partition,
        start: Some(ReadStart { start: Some(start) }),
        until: Some(ReadUntil { until: Some(until) }),
        format: ReadFormat::Records.into(),
        ..Default::default()
    };
    let mut answers = FetchServiceClient::new(channel.clone()).read(request).await?.into_inner();
    let (mut count, mut checksum) = (0, Hasher::new());
    while let Some(answer) = answers.message().await? {
        count += answer.records.len() as u64;
        answer.records.iter().for_each(|record| add(&mut checksum, record));
    }
    Ok((count, checksum.finalize()))
}

/// The reason of a call that failed: what a program decides on, where the text is for people.
fn reason(failed: &Status) -> Option<String> {
    let info = failed.get_details_error_info()?;
    (info.domain == "ottla").then_some(info.reason)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("ottla-round-trip ADDRESS [RECORDS [CA-FILE]]")?;
    let count = arguments.next().map_or(Ok(100_000), |given| given.parse())?;
    let channel = connect(&address, arguments.next()).await?;

    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let topic = format!("round-trip.rust.{}", now.as_millis());
    let mut admin = AdminServiceClient::new(channel.clone());
    let wanted =
        NewTopic { name: topic.clone(), partition_count: PARTITIONS, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![wanted], ..Default::default() };
    let created = admin.create_topics(request).await?.into_inner();
    created.results.into_iter().try_for_each(|result| check(result.error))?;

    let started = Instant::now();
    let (channel, name) = (&channel, topic.as_str());
    let round_trips = (0..PARTITIONS).map(|partition| async move {
        let sent = publish(channel, name, partition, count).await?;
        let (count, found) = read(channel, name, partition).await?;
        Ok::<_, Failure>((count, sent, found))
    });
    let (records, sent, found) = try_join_all(round_trips)
        .await?
        .into_iter()
        .fold((0, 0, 0), |sums, each| (sums.0 + each.0, sums.1 ^ each.1, sums.2 ^ each.2));
    let seconds = started.elapsed().as_secs_f64();

    let refused = read(channel, "rust.nowhere", 0).await.err();
    let reason = refused.as_ref().and_then(reason).unwrap_or_default();
    let unwanted = TopicRef { name: topic, ..Default::default() };
    let request = DeleteTopicsRequest { topics: vec![unwanted], ..Default::default() };
    let deleted = admin.delete_topics(request).await?.into_inner();
    deleted.results.into_iter().try_for_each(|result| check(result.error))?;
    println!(
        concat!(
            r#"{{"language": "rust", "records": {}, "sent": "{:08x}", "read": "{:08x}", "#,
            r#""reason": "{}", "seconds": {:.3}}}"#,
        ),
        records, sent, found, reason, seconds
    );
    if records != count || sent != found {
        return Err("what was read is not what was sent".into());
    }
    Ok(())
}
