//! What the kernel says of sockets that it destroys.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
};

use sakshi::input::{SocketClosed, SocketProto};

use crate::lab::*;

/// What the app sends and the peer answers, in bytes.
const REQUEST: usize = 100_000;
const ANSWER: usize = 7;

/// Reads a request to its end and answers it.
fn answer(listener: &TcpListener) {
    let (mut stream, _) = listener.accept().unwrap();
    stream.read_exact(&mut vec![0; REQUEST]).unwrap();
    stream.write_all(&[1; ANSWER]).unwrap();
}

/// Asks, and gives the handset's side.
fn ask(to: SocketAddr) -> SocketAddr {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.write_all(&vec![0; REQUEST]).unwrap();
    // To the end of the stream, so that everything is acknowledged.
    stream.read_to_end(&mut Vec::new()).unwrap();
    stream.local_addr().unwrap()
}

fn of(stream: &Stream, proto: SocketProto, local: SocketAddr) -> (usize, SocketClosed) {
    let mine =
        |(_, closed): &&(usize, SocketClosed)| (closed.proto, closed.local) == (proto, local);
    let all: Vec<_> = stream.closed.iter().filter(mine).collect();
    assert_eq!(all.len(), 1, "{local}: {:?}", stream.closed);
    all[0].clone()
}

#[test]
fn the_end_of_a_socket_tells_what_it_carried() {
    let Some(lab) = Lab::new("the_end_of_a_socket_tells_what_it_carried") else {
        return;
    };
    let listeners =
        lab.on_peer(|| [(PEER4, 8443), (PEER6, 8443)].map(|at| TcpListener::bind(at).unwrap()));
    let to = listeners.each_ref().map(|at| at.local_addr().unwrap());
    let peer = thread::spawn(move || listeners.iter().for_each(answer));
    let mut locals = Vec::new();
    let mut datagrams = None;
    let (stream, totals) = lab.on_handset(|| {
        capture(&config("legacy"), |_| {
            as_uid(10_050, || {
                locals = to.map(ask).to_vec();
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                socket.connect(NOBODY).unwrap();
                socket.send(b"probe").unwrap();
                datagrams = socket.local_addr().ok();
                // Never connected: it has no flow that it names.
                drop(UdpSocket::bind("0.0.0.0:0").unwrap());
            });
        })
    });
    peer.join().unwrap();
    for (local, remote) in locals.iter().zip(to) {
        let (after, closed) = of(&stream, SocketProto::Tcp, *local);
        assert_eq!(closed.remote, remote);
        // SYN and perhaps FIN count as one each.
        let acked = closed.bytes_acked.unwrap();
        assert!((1..=2).contains(&(acked - REQUEST as u64)), "{closed:?}");
        let received = closed.bytes_received.unwrap();
        assert!((0..=1).contains(&(received - ANSWER as u64)), "{closed:?}");
        assert!(closed.min_rtt_us.is_some() && closed.cookie.is_some());
        assert!(after > 0, "its packets come first");
    }
    let (_, closed) = of(&stream, SocketProto::Udp, datagrams.unwrap());
    assert_eq!((closed.bytes_acked, closed.min_rtt_us), (None, None));
    assert_eq!(closed.remote, NOBODY.parse().unwrap());
    assert_eq!(stream.closed.len(), 3, "{:?}", stream.closed);
    check_sums(&stream, &totals);
}
