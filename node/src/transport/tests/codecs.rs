//! Codecs against all that could arrive.

use crate::encoding::Reader;
use crate::transport::frame::{self, FRAME_LEN_MAX, Frame};
use crate::transport::{GroupId, Request, Response, SnapshotPiece, codec};
use bytes::{Bytes, BytesMut};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use raft::{Body, Configuration, Entry, Message, Payload, Position, SnapshotMeta, Stage};

fn configuration() -> impl Strategy<Value = Configuration> {
    let ids = || btree_set(any::<u64>(), 0..4);
    let context = btree_map(
        any::<u64>(),
        vec(any::<u8>(), 0..20).prop_map(Bytes::from),
        0..3,
    );
    (ids(), ids(), ids(), ids(), ids(), any::<bool>(), context).prop_map(
        |(voters, outgoing, learners, learners_next, joining, auto_leave, context)| Configuration {
            voters,
            outgoing,
            learners,
            learners_next,
            joining,
            auto_leave,
            context,
        },
    )
}

fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        Just(Payload::Empty),
        vec(any::<u8>(), 0..300).prop_map(|bytes| Payload::Command(bytes.into())),
        configuration().prop_map(|change| Payload::Configuration(Box::new(change))),
    ]
}

fn position() -> impl Strategy<Value = Position> {
    (any::<u64>(), any::<u64>()).prop_map(|(index, term)| Position { index, term })
}

fn stage() -> impl Strategy<Value = Stage> {
    prop_oneof![Just(Stage::Pre), Just(Stage::Real)]
}

fn append() -> impl Strategy<Value = Body> {
    let entries = (1..u64::MAX / 2, vec((any::<u64>(), payload()), 0..5));
    (position(), entries, any::<u64>()).prop_map(|(previous, (first, entries), commit)| {
        let numbered = entries.into_iter().zip(first..);
        let entries = numbered
            .map(|((term, payload), index)| Entry {
                index,
                term,
                payload,
            })
            .collect();
        Body::Append {
            previous,
            entries,
            commit,
        }
    })
}

fn body() -> impl Strategy<Value = Body> {
    let number = any::<u64>;
    prop_oneof![
        (stage(), position(), any::<bool>()).prop_map(|(stage, last, forced)| Body::VoteRequest {
            stage,
            last,
            forced
        }),
        (stage(), any::<bool>()).prop_map(|(stage, granted)| Body::VoteReply { stage, granted }),
        append(),
        number().prop_map(|matched| Body::Accepted { matched }),
        (number(), position()).prop_map(|(at, hint)| Body::Rejected { at, hint }),
        (number(), number(), any::<bool>()).prop_map(|(commit, round, sleep)| Body::Heartbeat {
            commit,
            round,
            sleep
        }),
        number().prop_map(|round| Body::HeartbeatReply { round }),
        (number(), number(), configuration()).prop_map(|(index, term, configuration)| {
            let meta = SnapshotMeta {
                index,
                term,
                configuration,
            };
            Body::Snapshot {
                meta: Box::new(meta),
            }
        }),
        Just(Body::TimeoutNow),
        number().prop_map(|round| Body::ReadRequest { round }),
        (number(), number(), number()).prop_map(|(round, index, commit)| Body::ReadReply {
            round,
            index,
            commit
        }),
    ]
}

fn messages() -> impl Strategy<Value = Vec<(GroupId, Message)>> {
    let message = (any::<u64>(), body()).prop_map(|(term, body)| Message { term, body });
    vec((any::<u32>(), message), 0..5)
}

fn encode(messages: &[(GroupId, Message)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let start = frame::open_messages(&mut bytes);
    for (group, message) in messages {
        codec::put_message(&mut bytes, *group, message);
    }
    frame::close_frame(&mut bytes, start);
    bytes
}

/// Proptest prints the case that fails and keeps it; a seed of one's own comes by `PROPTEST_RNG_SEED`.
fn cases() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(256)
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn messages_survive_the_wire_however_they_are_cut(messages in messages(), cut in any::<prop::sample::Index>()) {
        let bytes = encode(&messages);
        let cut = cut.index(bytes.len());
        let mut arrived = BytesMut::from(&bytes[..cut]);
        prop_assert_eq!(frame::take(&mut arrived, FRAME_LEN_MAX), Ok(None));
        arrived.extend_from_slice(&bytes[cut..]);
        prop_assert_eq!(frame::take(&mut arrived, FRAME_LEN_MAX), Ok(Some(Frame::Messages(messages))));
        prop_assert!(arrived.is_empty());
    }

    #[test]
    fn a_flipped_bit_is_never_taken_for_a_message(messages in messages(), at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let mut bytes = encode(&messages);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let mut arrived = BytesMut::from(&bytes[..]);
        // A length that grew waits for more; all else is noticed.
        let taken = frame::take(&mut arrived, FRAME_LEN_MAX);
        prop_assert!(matches!(taken, Err(_) | Ok(None)), "{taken:?}");
    }

    #[test]
    fn arbitrary_bytes_are_refused_without_a_panic(bytes in vec(any::<u8>(), 0..200)) {
        let mut reader = Reader::new(Bytes::from(bytes.clone()));
        while codec::message(&mut reader).is_ok() && reader.remaining() > 0 {}
        // Under a right header, too.
        for kind in 0..10 {
            let mut framed = vec![0; 8];
            framed.push(kind);
            framed.extend_from_slice(&bytes);
            frame::close_frame(&mut framed, 0);
            let _ = frame::take(&mut BytesMut::from(&framed[..]), FRAME_LEN_MAX);
        }
    }

    #[test]
    fn requests_and_answers_survive_the_wire(id in any::<u64>(), body in vec(any::<u8>(), 0..100), offset in any::<u64>(), digest in any::<u32>()) {
        let body = Bytes::from(body);
        let piece = SnapshotPiece {
            group: digest, leader_term: id, index: 3, term: 2, len: 9, digest, offset, bytes: body.clone(),
        };
        for request in [Request::Forward(body.clone()), Request::Snapshot(piece)] {
            let mut bytes = Vec::new();
            frame::put_request(&mut bytes, id, &request);
            let taken = frame::take(&mut BytesMut::from(&bytes[..]), FRAME_LEN_MAX);
            prop_assert_eq!(taken, Ok(Some(Frame::Request(id, request))));
        }
        let responses = [
            Response::Forward(body),
            Response::SnapshotWanted(offset),
            Response::SnapshotComplete,
            Response::Refused("no".into()),
        ];
        for response in responses {
            let mut bytes = Vec::new();
            frame::put_response(&mut bytes, id, &response);
            let taken = frame::take(&mut BytesMut::from(&bytes[..]), FRAME_LEN_MAX);
            prop_assert_eq!(taken, Ok(Some(Frame::Response(id, response))));
        }
    }
}

#[test]
fn heartbeats_of_a_thousand_groups_are_one_small_frame() {
    let body = Body::Heartbeat {
        commit: 1_000,
        round: 300,
        sleep: false,
    };
    let all: Vec<_> = (0..1000)
        .map(|group| {
            (
                group,
                Message {
                    term: 5,
                    body: body.clone(),
                },
            )
        })
        .collect();
    assert!(encode(&all).len() < 10_000);
}
