#include "userspace/base/secret.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "userspace/base/fd.h"

namespace tollgate {
namespace {

class SecretFile : public testing::Test {
 protected:
  void SetUp() override {
    path_ = testing::TempDir() + "tollgate-secret-XXXXXX";
    fd_.reset(::mkstemp(path_.data()));
    ASSERT_TRUE(fd_);
  }
  void TearDown() override { ::unlink(path_.c_str()); }
  Result<Secret> read_after(const std::string& bytes, mode_t mode = 0600) {
    EXPECT_EQ(::ftruncate(fd_.get(), 0), 0);
    EXPECT_EQ(::pwrite(fd_.get(), bytes.data(), bytes.size(), 0), ssize_t(bytes.size()));
    EXPECT_EQ(::fchmod(fd_.get(), mode), 0);
    return read_secret_file(path_);
  }
  std::string path_;
  UniqueFd fd_;
};

TEST_F(SecretFile, IsOneLineWithoutItsWhiteSpace) {
  for (const char* text : {"sk-test", "sk-test\n", "  sk-test \r\n"}) {
    const auto secret = read_after(text);
    ASSERT_TRUE(secret) << text;
    EXPECT_EQ(secret->reveal(), "sk-test");
  }
  EXPECT_EQ(read_after(std::string(4096, 'k'))->reveal().size(), 4096u);
}

TEST_F(SecretFile, RefusesWhatIsNoKey) {
  for (const std::string& text :
       {std::string(), std::string("\n"), std::string("two\nlines"), std::string("two words"),
        std::string("k\0y", 3), std::string("k\xc3\xa9y"), std::string(4097, 'k')}) {
    EXPECT_FALSE(read_after(text)) << text.size();
  }
}

TEST_F(SecretFile, RefusesAFileThatOthersMayReadAndSaysHowToMendIt) {
  EXPECT_TRUE(read_after("sk-test", 0640));
  const auto refused = read_after("sk-test", 0644);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().hint, "chmod 0640 " + path_);
  EXPECT_EQ(refused.error().text.find("sk-test"), std::string::npos);
}

TEST(ReadSecretFile, NamesTheFileThatIsMissing) {
  const auto refused = read_secret_file("/nonexistent/key");
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().text.find("/nonexistent/key"), std::string::npos);
}

TEST(Secret, WipesItsSourceOnConstructionAndMove) {
  std::string source = "sk-test-long-enough-to-live-on-the-heap";
  Secret first(std::move(source));
  EXPECT_TRUE(source.empty());  // NOLINT: that it is wiped is the point
  Secret second(std::move(first));
  EXPECT_TRUE(first.empty());  // NOLINT
  EXPECT_EQ(second.reveal(), "sk-test-long-enough-to-live-on-the-heap");
}

}  // namespace
}  // namespace tollgate
