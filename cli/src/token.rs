//! `muster token`: a token for a user of the API, and what the controllers' configuration says of it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use muster_controller::TokenDigest;
use muster_platform::World;

/// Draws a token and prints it, this once.
pub(crate) fn token() {
    let token = draw(&World::system());
    println!("token:       {token}");
    println!("tokenSha256: {}", TokenDigest::of(&token));
    eprintln!(
        "The token is for its user, and shown only now. Write the SHA-256 into the configuration of every \
         controller:\n  users:\n    - {{name: NAME, role: ROOT, tokenSha256: …}}"
    );
}

/// 256 bits, so that nobody finds it by trying.
fn draw(world: &World) -> String {
    let bytes: Vec<u8> = (0..4).flat_map(|_| world.entropy.next_u64().to_le_bytes()).collect();
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_and_differ() {
        let (one, other) = (draw(&World::system()), draw(&World::system()));
        assert_eq!(one.len(), 43);
        assert_ne!(one, other);
    }
}
