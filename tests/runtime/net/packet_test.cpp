// Packets cut into pieces, as bytes, and put together again; and bytes that are none.
#include "runtime/net/packet.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/rng.h"

namespace r1 {
namespace {

std::string text(size_t bytes, int seed) {
  std::string s(bytes, '\0');
  for (size_t i = 0; i < bytes; ++i) s[i] = static_cast<char>((i * 131 + static_cast<size_t>(seed) * 7 + i / 251) & 0xff);
  return s;
}

LinkPacket packet_of(size_t body, const std::vector<size_t>& frames) {
  LinkPacket p;
  p.kind = PacketKind::payload;
  p.incarnation = uint64_t{7} << 32 | 5;
  p.node = 3;
  p.edge = 12;
  p.number = 99;
  p.body = text(body, 1);
  for (size_t i = 0; i < frames.size(); ++i) p.frames.emplace_back(text(frames[i], static_cast<int>(i)));
  return p;
}

void expect_equal(const LinkPacket& a, const LinkPacket& b) {
  EXPECT_EQ(a.kind, b.kind);
  EXPECT_EQ(a.incarnation, b.incarnation);
  EXPECT_EQ(a.node, b.node);
  EXPECT_EQ(a.edge, b.edge);
  EXPECT_EQ(a.number, b.number);
  EXPECT_TRUE(a.body == b.body);
  ASSERT_EQ(a.frames.size(), b.frames.size());
  for (size_t i = 0; i < a.frames.size(); ++i) EXPECT_TRUE(a.frames[i].bytes() == b.frames[i].bytes()) << i;
}

// How many pieces it took.
size_t there_and_back(const LinkPacket& packet, PacketReader& reader) {
  const std::vector<Piece> pieces = cut_packet(packet);
  std::optional<LinkPacket> back;
  for (const Piece& piece : pieces) {
    EXPECT_FALSE(back);
    const WireMessage message = encode_piece(piece);
    EXPECT_LE(message.header.size(), kMaxHeaderBytes);
    EXPECT_LE(message.parts.size(), kMaxParts);
    EXPECT_LE(message.bytes(), kPieceBytes + kMaxHeaderBytes);
    back = reader.take(decode_piece(message));
  }
  EXPECT_TRUE(back);
  if (back) expect_equal(*back, packet);
  return pieces.size();
}

TEST(Packets, of_every_shape_come_back_as_they_were) {
  PacketReader reader;
  constexpr size_t kMiB = size_t{1} << 20;
  EXPECT_EQ(there_and_back(packet_of(0, {}), reader), 1u);
  EXPECT_EQ(there_and_back(packet_of(10, {4096, 4096}), reader), 1u);
  EXPECT_EQ(there_and_back(packet_of(10, {0}), reader), 1u);
  EXPECT_EQ(there_and_back(packet_of(16 * 1024, {0, 5, 0, kMiB / 2, 0}), reader), 1u);
  there_and_back(packet_of(16 * 1024 + 1, {}), reader);
  there_and_back(packet_of(3 * kMiB + 17, {1, 2 * kMiB, 0}), reader);
  there_and_back(packet_of(5, {kMiB}), reader);
  there_and_back(packet_of(5, {kMiB - 1, 1, kMiB + 1}), reader);
  EXPECT_EQ(there_and_back(packet_of(5, {5 * kMiB + 3}), reader), 6u);
  there_and_back(packet_of(5, std::vector<size_t>(1024, 3)), reader);
  there_and_back(packet_of(5, std::vector<size_t>(1025, 3)), reader);
  EXPECT_EQ(there_and_back(packet_of(17'000, std::vector<size_t>(20'000, 5)), reader), 1u);
  there_and_back(packet_of(0, std::vector<size_t>(300'000, 0)), reader);
  there_and_back(packet_of(0, std::vector<size_t>(200, 16 * 1024)), reader);
}

// docs/formats.md, "Links".
TEST(Packets, the_example_of_the_documentation_holds) {
  LinkPacket packet;
  packet.kind = PacketKind::payload;
  packet.incarnation = 5;
  packet.node = 3;
  packet.edge = 12;
  packet.number = 99;
  packet.body = "body";
  packet.frames.emplace_back(std::string("abc"));
  Piece piece = cut_packet(packet).at(0);
  piece.seq = 1;
  const WireMessage message = encode_piece(piece);
  const std::string expected(
      "\x9c\x01\x24\x01\x00\x00\x05\x03\x0c\x63\xc4\x04"
      "body"
      "\x91\x03\xcf",
      19);
  EXPECT_EQ(message.header.substr(0, 19), expected);
  EXPECT_EQ(message.header.size(), 27u);
  EXPECT_EQ(message.parts.at(0).bytes(), "abc");
}

TEST(Packets, a_large_frame_is_not_copied_on_its_way_out_nor_in_where_it_lies_in_one_part) {
  const LinkPacket packet = packet_of(0, {3 << 20, 40'000});
  const std::vector<Piece> pieces = cut_packet(packet);
  EXPECT_EQ(pieces[1].parts.at(0).bytes().data(), packet.frames[0].bytes().data() + kPieceBytes);
  PacketReader reader;
  std::optional<LinkPacket> back;
  for (const Piece& piece : pieces) back = reader.take(decode_piece(encode_piece(piece)));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->frames[1].bytes().data(), packet.frames[1].bytes().data());
}

// The same ten megabytes, six hundred times.
TEST(Packets, one_of_more_than_4_gib_is_cut_and_let_in) {
  LinkPacket packet = packet_of(10, {10 << 20});
  packet.frames.resize(600, packet.frames[0]);
  const std::vector<Piece> pieces = cut_packet(packet);
  size_t bytes = 0;
  for (const Piece& piece : pieces)
    for (const WireFrame& part : piece.parts) bytes += part.size();
  EXPECT_EQ(bytes, size_t{600} * (10 << 20));
  EXPECT_GT(bytes, size_t{1} << 32);
  PacketReader reader;
  EXPECT_FALSE(reader.take(pieces[0])) << "it says how much is to come";
}

TEST(Packets, random_ones_come_back_as_they_were) {
  Rng rng(11, "packets");
  PacketReader reader;
  for (int round = 0; round < 60; ++round) {
    std::vector<size_t> frames(rng.below(40));
    for (size_t& size : frames) size = rng.below(2) == 0 ? rng.below(100) : rng.below(200'000);
    there_and_back(packet_of(rng.below(40'000), frames), reader);
  }
}

std::string refusal(const WireMessage& message) {
  try {
    decode_piece(message);
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::failed);
    return e.message();
  }
  return "taken";
}

TEST(Packets, one_flipped_bit_is_noticed_wherever_it_is) {
  const WireMessage good = encode_piece(cut_packet(packet_of(300, {17, 20'000}))[0]);
  ASSERT_EQ(refusal(good), "taken");
  for (size_t i = 0; i < good.header.size() * 8; ++i) {
    WireMessage bad = good;
    bad.header[i / 8] = static_cast<char>(bad.header[i / 8] ^ (1 << i % 8));
    EXPECT_NE(refusal(bad), "taken") << "bit " << i << " of the header";
  }
  for (size_t part = 0; part < good.parts.size(); ++part)
    for (size_t i = 0; i < good.parts[part].size(); i += 997) {
      WireMessage bad = good;
      std::string bytes(good.parts[part].bytes());
      bytes[i] = static_cast<char>(bytes[i] ^ 4);
      bad.parts[part] = WireFrame(bytes);
      EXPECT_NE(refusal(bad), "taken") << part << ":" << i;
    }
  WireMessage bad = good;
  bad.parts.pop_back();
  EXPECT_NE(refusal(bad), "taken");
  bad = good;
  std::swap(bad.parts[0], bad.parts[1]);
  EXPECT_NE(refusal(bad), "taken");
}

TEST(Packets, what_is_too_large_is_refused_before_anything_is_made_of_it) {
  EXPECT_NE(refusal({std::string(kMaxHeaderBytes + 1, '\x90'), {}}).find("header is too long"), std::string::npos);
  const WireMessage good = encode_piece(cut_packet(packet_of(3, {}))[0]);
  WireMessage many = good;
  many.parts.assign(kMaxParts + 1, WireFrame(std::string("x")));
  EXPECT_NE(refusal(many).find("too many parts"), std::string::npos);
  WireMessage large = good;
  large.parts = {WireFrame(std::string(kMaxPartBytes + 1, 'x'))};
  EXPECT_NE(refusal(large).find("too large"), std::string::npos);
}

// A packet that announces `sizes`, without a byte of them.
Piece announcing(std::vector<uint64_t> sizes) {
  Piece piece;
  piece.kind = PacketKind::payload;
  piece.frames = sizes.size();
  piece.sizes = std::move(sizes);
  return piece;
}

std::string not_put_together(std::vector<Piece> pieces, size_t most_bytes = 1000) {
  PacketReader reader(most_bytes);
  try {
    for (Piece& piece : pieces)
      if (reader.take(std::move(piece))) return "whole";
  } catch (const Error& e) {
    return e.message();
  }
  return "not yet";
}

TEST(Packets, an_announcement_beyond_what_was_agreed_is_refused) {
  EXPECT_EQ(not_put_together({announcing({1000})}), "not yet");
  EXPECT_NE(not_put_together({announcing({1001})}).find("larger than was agreed"), std::string::npos);
  EXPECT_NE(not_put_together({announcing({600, 401})}).find("larger than was agreed"), std::string::npos);
  EXPECT_NE(not_put_together({announcing({1, UINT64_MAX})}).find("larger than was agreed"), std::string::npos);
  Piece table;
  table.kind = PacketKind::payload;
  table.frames = kMaxPacketFrames + 1;
  EXPECT_NE(not_put_together({table}, kMaxPacketBytes).find("too many frames"), std::string::npos);
  Piece body;
  body.kind = PacketKind::payload;
  body.body_bytes = uint64_t{1} << 60;
  EXPECT_NE(not_put_together({body}).find("larger than was agreed"), std::string::npos);
}

TEST(Packets, pieces_that_do_not_belong_together_are_refused) {
  Piece more;
  more.kind = PacketKind::more;
  more.parts = {WireFrame(std::string(10, 'x'))};
  EXPECT_NE(not_put_together({more}).find("never began"), std::string::npos);
  EXPECT_NE(not_put_together({announcing({5}), announcing({})}).find("within another"), std::string::npos);
  EXPECT_NE(not_put_together({announcing({5}), more}).find("more bytes than"), std::string::npos);
  EXPECT_EQ(not_put_together({announcing({10, 0, 0}), more}), "whole");
}

}  // namespace
}  // namespace r1
