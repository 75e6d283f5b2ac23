//! Whoever calls can be answered.

use super::*;
use crate::transport::peers::GUESTS_MAX;

#[tokio::test]
async fn who_calls_is_answered_though_nobody_named_it_and_forgotten_when_it_is_gone() {
    let (mut one, mut two) = (node(1, None).await, node(2, None).await);
    one.knows(&[(2, &two.address)]);
    one.sees(&Seen::Connected(2, false)).await;
    one.reaches(2).await;
    let request = Request::Forward(Bytes::from_static(b"please"));
    two.reaches(1).await;
    let answer = one.transport.request(2, &request, PATIENCE).await;
    assert_eq!(answer, Ok(Response::Forward(Bytes::from_static(b"please"))));
    two.transport.send(0, &[hello(1, Body::TimeoutNow)]);
    one.sees(&Seen::Messages(2, 1)).await;
    // What is said of others changes nothing for it, nor that it is named where it is already.
    two.knows(&[]);
    two.reaches(1).await;
    drop(one);
    two.sees(&Seen::Unreachable(1)).await;
    while !two.transport.inner.peers.read().is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_peer_that_is_named_wrongly_is_found_when_it_calls() {
    let (one, two) = (node(1, None).await, node(2, None).await);
    let third = node(3, None).await;
    // Nobody listens at one address, and another node at the other.
    for wrong in ["127.0.0.1:1", &third.address] {
        two.knows(&[(1, wrong)]);
        one.knows(&[(2, &two.address)]);
        tokio::time::timeout(PATIENCE, two.reaches(1))
            .await
            .expect("found");
        one.knows(&[]);
        while one.transport.is_connected(2) {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn callers_that_nobody_named_are_bounded() {
    let one = node(1, None).await;
    one.knows(&[(1000, "127.0.0.1:1")]);
    let mut standing = Vec::new();
    let mut call_as = async |from| {
        let mut stream = call(&one.address).await;
        let mut bytes = Vec::new();
        frame::put_hello(
            &mut bytes,
            &Hello {
                from,
                ..introduction()
            },
        );
        stream.write_all(&bytes).await.expect("written");
        let mut said = BytesMut::new();
        stream.read_buf(&mut said).await.expect("an answer");
        standing.push(stream);
        frame::take(&mut said, HELLO_LEN_MAX).expect("a frame")
    };
    for from in 2..GUESTS_MAX as u64 + 2 {
        assert!(matches!(call_as(from).await, Some(Frame::Welcome(_))));
    }
    assert!(matches!(call_as(900).await, Some(Frame::Refused(_))));
    // Who is named, or is there already, is let in all the same.
    assert!(matches!(call_as(1000).await, Some(Frame::Welcome(_))));
    assert!(matches!(call_as(2).await, Some(Frame::Welcome(_))));
}
