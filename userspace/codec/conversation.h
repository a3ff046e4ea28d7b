// What was said on a client's WebSocket, kept so that a provider without WebSocket can be asked:
// the client sends only what is new (previous_response_id), such a provider must be sent
// everything. Pure text: JSON that the inspector has accepted goes in, pieces of it come out
// unchanged.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace tollgate::codec {

// The items of a message's `input`, comma-separated as they stand in it; a string is one message of
// the user. Empty when there is none.
std::string input_items(std::string_view message);

// The body for POST /responses: the message with `items` as its whole input and "stream": true,
// without what belongs to the WebSocket alone (type, previous_response_id, generate). Every other
// member as it was. Nothing when the message is no object.
std::optional<std::string> compose_request(std::string_view message, std::string_view items);

// `item` of a response.output_item.done event, as it stands in it; nothing for any other event.
std::optional<std::string_view> finished_item(std::string_view event);

// Appends items to others, with the comma between them.
void append_items(std::string& items, std::string_view more);

}  // namespace tollgate::codec
